#!/bin/sh
# Trains the networks in PyTorch and Keras, where a Python has them: epochs into FOLDER/torch.csv and keras.csv.
# What is not there, or fails, is named and left out. usage: bench/peers/train.sh FOLDER [--model NAME,...] [--data FOLDER]
here=$(dirname "$0")

folder=$1
shift

train() { # script and file, module that it needs, options
    name=$1 module=$2
    shift 2
    if python=$(sh "$here/python.sh" "$module" 2>&1); then
        "$python" -B "$here/train_$name.py" --out "$folder/$name.csv" --append "$@" ||
            echo "sepbench: $name left out: $python failed" >&2
    else
        echo "sepbench: $name left out: $python" >&2
    fi
}

train torch torch "$@"
train keras tensorflow "$@"
