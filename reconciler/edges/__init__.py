"""What wakes the loop: one file for each, all of one shape (`edge`), all run by `supervisor`."""
