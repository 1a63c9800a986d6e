"""The pages of all campaigns and of one: how far each is; cancels and resumes, but never dials."""
