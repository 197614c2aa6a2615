"""The configuration file that explains itself, written only when somebody asks for one."""

STARTER = """\
# Meshlight's configuration. Every line that begins with # is a comment or a default; take the # away to change it.
# The running service notices a saved change within two seconds, and keeps the last good state if a line is wrong.
# Secrets don't belong here: `meshlight backends add` puts them into the system's keyring.

# port = 6374              # where the service listens, on this machine only
# name = ""                # how this node calls itself; empty: the name of this computer
# paused = false           # true turns requests away until it is false again
# require_key = true       # false opens /v1 to every program on this machine
# allowed_hosts = []       # other names this service is asked by, as "mesh.example"; always with the local key
#                          # (host.docker.internal and its like need no entry)
# allowed_origins = []     # other sites whose pages may ask for models, as "http://localhost:3000"; with the key

# [discovery]
# enabled = true           # look for local engines (llama.cpp, Ollama, vLLM, MLX, LM Studio)
# ignored = []             # URLs of found engines that are switched off for good

# [lan]                    # other Meshlights on this network
# visible = false          # let others see this machine, and ask it to pair
# browse = true            # look for others
# port = 6375              # where peers ask, over TLS; nobody else gets an answer there
# door = 6376              # where others ask to pair, while this machine is visible

# [routing]
# policy = "local-first"   # or "priority", "round-robin", "least-busy", "fastest"

# [routing.aliases]        # another name = the model, or backend/model, that it stands for
# "gpt-4o-mini" = "qwen3-8b"

# [[routing.rules]]        # wishes for the models whose name matches; the first match counts
# model = "llama-*"
# pin = []                 # only these backends (id or name)
# prefer = []              # these first, in this order
# bound = "lan"            # never beyond: "machine", "lan", "company" or "cloud"
# spill = "company"        # how far to go when nearer backends are down

# [[backends]]             # a server that answers; repeat the whole block for each one
# kind = "openai-compatible"   # or "llamacpp", "ollama", "vllm", "mlx", "lmstudio", …
# url = "http://gpu-box:8000"
# name = "GPU box"         # default: the id, or else the host
# id = "gpu-box"           # default: made from the name
# ring = "lan"             # default: told from the URL
# enabled = true
# priority = 0             # smaller is tried earlier under the "priority" policy
# first_byte_s = 300       # how long to wait for the first byte of an answer, in seconds
# idle_s = 300             # how long a stream may pause, in seconds
# access_key = ""          # the public half of a cluster's pair of keys; its secret half is in the keyring
# ca_file = ""             # PEM file of the authority that signed the certificate of an https:// URL
# proxy = ""               # "env" (HTTPS_PROXY, NO_PROXY), "none" or a URL; default: "env" for clouds, else "none"
# models = []              # the names of its models, such as ["a", "b"], if its server has no list of them
# follow_clock = true      # sign by a cluster's clock when this machine's is off
"""
