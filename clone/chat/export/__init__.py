"""The twin for other programs: GGUF for llama.cpp and Ollama, a Hugging Face folder, a PEFT adapter."""
