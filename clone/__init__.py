"""A digital twin from a person's own private chats: collect, prepare, finetune, chat."""

__version__ = "0.1.0"
