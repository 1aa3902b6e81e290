# What all pictures share. The program puts colours (muted, axis, grid, page), data, ranges, ticks and labels
# before and after this.
set border 3 lw 1 lc rgb axis
set tics nomirror scale 0.4,0.2 textcolor rgb muted font ",12"
set grid lt 1 lw 0.6 lc rgb grid
set xlabel textcolor rgb muted font ",12" offset 0,0.7
set ylabel textcolor rgb muted font ",12" offset 1,0
set xtics offset 0,0.3
unset key
set lmargin at screen 0.15
set rmargin at screen 0.715
set tmargin at screen 0.845
set bmargin at screen 0.135
# PNG twice the size: sharp on any screen. Builds of gnuplot without Cairo have the plainer terminal.
png = (strstrt(GPVAL_TERMINALS, "pngcairo") > 0) \
    ? "pngcairo noenhanced font \"sans-serif,13\" fontscale 1.55 linewidth 2 pointscale 2 background \"" . page . "\"" \
    : "png noenhanced medium"
