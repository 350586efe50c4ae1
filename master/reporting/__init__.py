"""The reporter: every start and every final result reaches the review bot at least once."""
