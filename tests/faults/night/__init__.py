"""One night of many contacts under all rules at once; judged by the vendor's log and the audit command."""
