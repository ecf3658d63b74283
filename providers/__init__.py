"""Who is asked? Catalog, chat wire format, transport, retry, rate control."""
