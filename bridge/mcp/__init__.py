"""The Model Context Protocol: the bridge's calls as tools for a model. Needs the extra `[mcp]`.

tools    one definition of the tools and resources, on the client alone
stdio    `bridge mcp`: for whatever SIDECAR_URL and JWT_TOKEN name
"""
