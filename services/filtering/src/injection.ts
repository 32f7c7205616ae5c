/** What tells that a text wants to give a model other orders than its own, and how much. */
const SIGNS: readonly (readonly [RegExp, number])[] = [
  [
    /\b(?:ignore|disregard|forget|override|bypass|skip)\b.{0,24}\b(?:all|any|the|your|these|those|previous|prior|above|earlier|preceding|system|initial)\b.{0,24}\b(?:instructions?|prompts?|rules?|directions?|guidelines?|messages?|context|constraints?|commands?)\b/i,
    0.9,
  ],
  [
    /(?:忽略|无视|忘记|忘掉|不要理会|不用管|跳过|抛开|绕过|覆盖).{0,12}(?:指令|指示|提示词?|规则|要求|设定|命令|限制|约束|内容|对话|系统消息)/,
    0.9,
  ],
  [
    /\b(?:reveal|show|print|repeat|output|display|tell me|give me|leak|write out)\b.{0,30}\b(?:system|initial|hidden|original|secret|developer)\b.{0,12}\b(?:prompts?|instructions?|messages?|rules)\b/i,
    0.8,
  ],
  [
    /(?:输出|显示|打印|重复|告诉我|泄露|公开|说出|复述|给我看).{0,12}(?:系统|隐藏|初始|原始|内部|开发者).{0,4}(?:提示词?|指令|设定|消息|规则)/,
    0.8,
  ],
  [/(?:你的|本次对话的)(?:系统)?提示词是(?:什么|啥)/, 0.6],
  [
    /\b(?:you are|act as|pretend to be|you're|become|role-?play as)\b.{0,30}\b(?:DAN|jailbroken|unrestricted|unfiltered|uncensored|evil|without (?:any )?(?:restrictions?|rules|filters?|limits?))\b/i,
    0.8,
  ],
  [
    /(?:你现在是|扮演|假装(?:你)?是|进入|切换到).{0,16}(?:不受(?:任何)?限制|没有(?:任何)?限制|无限制|无审查|越狱|开发者模式|上帝模式|DAN)/i,
    0.8,
  ],
  [/\b(?:developer|debug|god|jailbreak|sudo|admin) mode\b.{0,20}\b(?:on|enabled?|activated?)?\b/i, 0.5],
  [/(?:开发者|调试|管理员|越狱|上帝)模式/, 0.5],
  [
    /<\|(?:im_start|im_end|system|assistant|user|endoftext)\|>|\[\/?INST\]|<<\/?SYS>>|<start_of_turn>|<\/?(?:system|assistant)>/i,
    0.8,
  ],
  [/^\s{0,8}(?:#{1,6} ?)?(?:system|assistant|系统|助手) ?(?:message|prompt|消息|提示)? ?[:：]/im, 0.5],
  [
    /\b(?:new|updated|real|actual) (?:system )?instructions?\b ?[:：]|(?:新的?|真正的|最新)(?:系统)?(?:指令|指示|规则)(?:如下|是)?[:：]/i,
    0.6,
  ],
  [
    /\b(?:do not|don't|never) (?:tell|mention|reveal|inform)\b.{0,30}\b(?:user|anyone|them)\b|不要(?:告诉|让)(?:用户|任何人)/i,
    0.4,
  ],
  [
    /\b(?:from now on|starting now|henceforth)\b.{0,40}\b(?:you (?:will|must|are)|answer|respond)\b|从现在(?:开始|起).{0,16}(?:你(?:必须|要|就是|将)|只能)/i,
    0.4,
  ],
  [
    /\b(?:this is|it is|it's) (?:only |just )?(?:a |for )?(?:hypothetical|fictional|educational|testing)\b.{0,60}\b(?:no|without|ignore)\b/i,
    0.3,
  ],
];
/** What is looked at of a text at most. */
const MOST_CHARACTERS = 64 * 1024;

/**
 * How likely a text tries to take a model over, from 0 to 1: signs add up as independent ones do. A heuristic: it knows
 * the usual words in English and Chinese, and a patient writer finds others.
 */
export function injectionScore(text: string): number {
  const plain = text
    .slice(0, MOST_CHARACTERS)
    .normalize('NFKC')
    .replace(/[\u200b-\u200f\u2060-\u2064\ufeff\u00ad]/g, '');
  let harmless = 1;
  for (const [sign, weight] of SIGNS) if (sign.test(plain)) harmless *= 1 - weight;
  return 1 - harmless;
}
