"""Claims of the literature: their files, their language, and the verdict on each."""
