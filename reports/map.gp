# Heat map: one box per problem, coloured by speedup, its figure written inside. Columns: x y fill ink text.
set border 0
unset grid
set tics scale 0
set lmargin at screen 0.15
set rmargin at screen 0.985
set style fill solid 1 noborder
plot $lines using 1:2:(0.485):(0.47):3 with boxxyerror notitle fc rgb variable, \
     $lines using 1:2:5:4 with labels notitle tc rgb variable font ",11"
