"""What calling many people takes: contacts, checked; calling windows; and the pace that the API allows."""
