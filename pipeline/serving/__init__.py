"""The prediction server: what runs a released bundle and answers over HTTP."""
