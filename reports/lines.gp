# Interval bars, lines, points; labels stand at the right ends. Points whose value is not sure (column 5) are
# hollow: a small point of the page's colour on one of the line's.
plot for [i = 0:lines - 1] $lines index i using 1:3:(0):($4 - $3) with vectors nohead lw 1 lc rgb word(colors, i + 1) notitle, \
     for [i = 0:lines - 1] $lines index i using 1:2 with lines notitle lw real(word(widths, i + 1)) dt int(word(dashes, i + 1)) lc rgb word(colors, i + 1), \
     for [i = 0:lines - 1] $lines index i using 1:2 with points notitle pt 7 ps real(word(dots, i + 1)) lc rgb word(colors, i + 1), \
     for [i = 0:lines - 1] $lines index i using 1:($5 > 0 ? $2 : NaN) with points notitle pt 7 ps 1.3 * real(word(dots, i + 1)) lc rgb word(colors, i + 1), \
     for [i = 0:lines - 1] $lines index i using 1:($5 > 0 ? $2 : NaN) with points notitle pt 7 ps 0.8 * real(word(dots, i + 1)) lc rgb page
