"""The colours of figures and of the dashboard, which colour-blind readers can tell apart."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito 2008, without yellow
INK, FAINT, GRID = "#222222", "#8a8a8a", "#ececec"
PLAIN, PALE = "#6e6e6e", "#b0b0b0"  # in the dashboard, on white and on black: the plain network, mechanisms beyond six
