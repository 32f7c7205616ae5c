/** Chat templates in the ways of those who export models. */

/** Takes the parts of a message one by one, in their order. */
export const PARTS_TEMPLATE =
  "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}" +
  "{% for part in m['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}" +
  "{% endif %}{% endfor %}{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** As Qwen2-VL's: texts or parts, and marks around an image. */
export const QWEN_TEMPLATE =
  "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}" +
  "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}" +
  "{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}" +
  "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|end|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** As SmolVLM's: a colon, with a blank where the message begins with text. */
export const SMOL_TEMPLATE =
  "{% for m in messages %}{{ m['role'] | capitalize }}" +
  "{% if m['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}" +
  "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}" +
  "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}{{ '<|end|>' }}\n{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";
