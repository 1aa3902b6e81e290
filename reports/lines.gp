# Lines with interval bars, one per implementation; labels stand at their right ends.
plot for [i = 0:lines - 1] $lines index i using 1:2:3:4 with yerrorbars notitle dt 1 pt 7 ps real(word(dots, i + 1)) lw 1 lc rgb word(colors, i + 1), \
     for [i = 0:lines - 1] $lines index i using 1:2 with lines notitle lw real(word(widths, i + 1)) dt int(word(dashes, i + 1)) lc rgb word(colors, i + 1)
