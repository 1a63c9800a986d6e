"""At which instants a contact may be called, by the clock where they live; never asks what time it is."""
