"""The pages of all campaigns and of one: how far each is; cancels one, or takes that back."""
