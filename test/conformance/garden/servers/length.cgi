#!/bin/sh
# For Apache httpd: says how long the content of a request was, for the access log, and which target it was for.
printf 'Content-Type: text/plain\r\nX-Length: %s\r\nX-Seen: %s\r\n\r\nseen\n' "$(wc -c)" "$REQUEST_URI"
