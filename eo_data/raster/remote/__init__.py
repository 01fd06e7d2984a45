"""Files on servers, of which only the needed ranges are fetched, with patience and a cache on disk."""
