"""What must hold before anybody is called: calling hours, caps, exemptions, and who has opted out."""
