"""What is known of a program without running it: ranges, signs, units, recurrences, quadratics and their minimisers."""
