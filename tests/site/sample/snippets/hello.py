"""Says hello."""

import valkey

client = valkey.Valkey(decode_responses=True)
client.set("greeting", "hello")
greeting = client.get("greeting")
