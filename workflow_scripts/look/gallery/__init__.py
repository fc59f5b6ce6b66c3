"""The gallery: what its page is told of an image (`tiles`), and the page itself (`page/`)."""
