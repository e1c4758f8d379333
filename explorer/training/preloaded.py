"""What every training imports, loaded once in a process that others are forked from.

No threads may exist there, so nothing but torch is loaded that could start some.
"""

import torch

from explorer.training import loop as loop

# The first optimizer of a process imports torch._dynamo, which takes as long as importing torch itself.
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], fused=True)
