"""The one door to the phone: claims, sends and stores calls, one or many; nothing else sends the POST."""
