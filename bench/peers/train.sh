#!/bin/sh
# Trains both networks in PyTorch and Keras, where a Python has them: epochs into FOLDER/torch.csv and keras.csv.
# What is not there, or fails, is named and left out. usage: bench/peers/train.sh FOLDER
here=$(dirname "$0")

train() { # $1: script and file, $2: module that it needs
    if python=$(sh "$here/python.sh" "$2" 2>&1); then
        "$python" -B "$here/train_$1.py" --out "$folder/$1.csv" --append ||
            echo "sepbench: $1 left out: $python failed" >&2
    else
        echo "sepbench: $1 left out: $python" >&2
    fi
}

folder=$1
train torch torch
train keras tensorflow
