"""Accounts of Telegram itself."""

# Its notices, support's old and new ones, replies to comments, verification codes.
SYSTEM_IDS = frozenset({777000, 42777, 333000, 489000, 1271266957, 708513})
