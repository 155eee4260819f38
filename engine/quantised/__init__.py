"""Arrays that files keep in fewer bits than their numbers need, and how their numbers are found again."""
