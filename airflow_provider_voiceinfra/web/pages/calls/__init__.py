"""The page of all calls: filters, rows, charts and the CSV file; never changes anything."""
