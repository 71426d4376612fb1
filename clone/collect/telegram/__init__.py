"""Telegram: the live account and the exports of Telegram Desktop.

login.py       credentials, session, code, password, QR
connection.py  one connection: what may be asked, patience, floods, takeout, proxies
reading.py     answers as objects together with their own bytes, even where a part is of an unknown kind
dialogs.py     which dialogs there are, and whose
history.py     one dialog's messages, ascending, none passed over
parse.py       a Telegram message as a record
live.py        the run: all dialogs into the archive
drafts.py      an answer put into a draft
export.py      result.json, of every version
system.py      accounts that are Telegram itself
"""
