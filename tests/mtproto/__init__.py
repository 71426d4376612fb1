"""A small Telegram on loopback: a real MTProto server on a real socket, for an unmodified Telethon.

key.py        its RSA key and Diffie-Hellman group
transport.py  frames, the key exchange, encryption, containers
account.py    what one person sees: users, dialogs, messages
server.py     the requests that it answers
faults.py     one named fault for each trap
golden/       the wire bytes of a few answers, so that an error which the library makes both ways is noticed
"""

from tests.mtproto.account import Account
from tests.mtproto.server import FakeTelegram, RpcFault, serve

__all__ = ["Account", "FakeTelegram", "RpcFault", "serve"]
