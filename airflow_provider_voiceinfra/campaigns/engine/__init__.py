"""The loop that runs a campaign: who is next, on which line, and when it is over; sends nothing by itself."""
