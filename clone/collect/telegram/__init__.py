"""Telegram: the account itself, and what Telegram Desktop exports."""
