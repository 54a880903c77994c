"""The site's part: colours, the publish gate, macros and the PDF.

It stands on ``fences`` and ``record`` and knows nothing of servers or pytest.
"""
