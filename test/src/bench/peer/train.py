"""The same training steps with PyTorch, transformers and peft; figures as JSON on the last line."""
import json
import resource
import sys
import time

start = time.perf_counter()
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

run = json.loads(sys.argv[1])
torch.set_num_threads(run["threads"])
model = AutoModelForCausalLM.from_pretrained(run["model"], dtype=torch.float32)
method = run["method"]
if method in ("lora", "qlora"):
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
elif method == "ptuning_v2":
    model = get_peft_model(model, PrefixTuningConfig(num_virtual_tokens=16, task_type="CAUSAL_LM"))
elif method == "frozen":
    for name, parameter in model.named_parameters():
        layers = model.config.num_hidden_layers
        top = any(f"layers.{layers - i}." in name for i in (1, 2))
        parameter.requires_grad_(top or name == "model.norm.weight")
model.train()
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0)
state = 7


def uniform():
    global state
    state = (state * 1664525 + 1013904223) % 2**32
    return state / 2**32


seconds, answered, first_loss = [], 0, 0.0
started = time.perf_counter() - start
for step in range(run["steps"] + 1):
    rows = []
    for _ in range(run["batch"]):
        shortest, length = run["ragged"], run["length"]
        size = shortest + int(uniform() * (length - shortest + 1)) if shortest > 0 else length
        rows.append([int(uniform() * model.config.vocab_size) for _ in range(size)])
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    labels = ids.masked_fill(mask == 0, -100)
    for row, tokens in enumerate(rows):
        labels[row, : len(tokens) // 2] = -100
    begin = time.perf_counter()
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    if step == 0:
        first_loss = loss.item()
    else:
        seconds.append(time.perf_counter() - begin)
        answered += int((labels != -100).sum())
figures = {
    "secondsPerStep": sorted(seconds)[len(seconds) // 2],
    "tokensPerSecond": answered / sum(seconds),
    "peakRssMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "startSeconds": started,
    "firstLoss": first_loss,
    "trainable": sum(p.numel() for p in parameters),
}
print(json.dumps(figures))
