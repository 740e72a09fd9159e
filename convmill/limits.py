"""Numbers that the command line and the functions behind it share; nothing is imported here."""

LARGEST_SEED = 2**32 - 1

# Pictures: how much of something at most, and how much where nothing is said.
MOST_IMAGES, IMAGES = 120, 24
MOST_BINS, BINS = 100, 15
MAPS = 64
STEPS = 120  # of gradient ascent
