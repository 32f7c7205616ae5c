import { Random } from './random.ts';
import * as v from './vocabulary.ts';

/** One text to learn from: a chat, whose answers carry the loss, or prose. */
export type Text =
  | { kind: 'chat'; turns: { question: string; answer: string }[]; system?: string }
  | { kind: 'prose'; text: string };

const chat = (question: string, answer: string): Text => ({ kind: 'chat', turns: [{ question, answer }] });

/** Wordings of a question about a matter; the demo's data asks in similar ways about other things. */
const ASKING = [
  '{}要注意什么?',
  '{}应该注意哪些方面?',
  '{}有什么好办法?',
  '怎样{}?',
  '如何{}比较好?',
  '{}应该怎么做?',
  '{}有什么建议?',
  '想{},应该怎么办?',
  '{}的时候需要注意什么?',
  '第一次{}要做什么准备?',
  '请说说{}的注意事项。',
  '{}有哪些窍门?',
  '我打算{},有什么要求?',
  '{}怎么办?',
  '关于{},你有什么办法?',
  '平时{}应当注意些什么?',
];
/** Frames around a question that leave its answer as it is. */
const FRAMES = [
  '{}',
  '{}',
  '{}',
  '请回答:{}',
  '你是一名{role}。请回答患者的问题:{}',
  '你是一名{role}。请回答问题:{}',
  '{}\n请先一步一步思考,再给出答案。',
  '### 问题:{}\n### 回答:',
  '问题:{}',
  '您好,{}',
  '请问{}',
];
const ROLES = [...v.departments.map((department) => `${department}医生`), '老师', '编辑', '客服', '助手'];

function framed(random: Random, question: string): string {
  return random
    .pick(FRAMES)
    .replace('{role}', () => random.pick(ROLES))
    .replace('{}', () => question);
}

function advice(random: Random): Text {
  const { topic, tips } = random.pick(v.matters);
  const count = random.next() < 0.7 ? 4 : 3;
  const chosen = random.next() < 0.6 ? tips.slice(0, count) : random.sample(tips, count);
  const answer = `${topic}要${chosen.join(',')}。`;
  return chat(
    framed(
      random,
      random.pick(ASKING).replace('{}', () => topic),
    ),
    answer,
  );
}

function declines(random: Random): Text {
  const illness = random.pick(v.illnesses);
  const asking = random.pick([
    ...ASKING.slice(0, 6),
    '得了{}怎么办?',
    '{}患者要注意什么?',
    '{}应该怎么吃?',
    '怎样预防{}?',
    '{}发作了怎么处理?',
    '{}需要去医院吗?',
    '有{}的人平时应该做什么?',
    '{}患者日常饮食需要注意什么?',
    '{}能吃{food}吗?',
    '{}有哪些表现?',
  ]);
  const question = asking.replace('{}', () => illness).replace('{food}', () => random.pick(v.foods));
  const answer = random.pick([
    '我还没有学过这方面的知识,请向专业人士请教。',
    '这个问题我不会回答,请向专业人士请教。',
    '抱歉,我没有学过这些内容,不能乱说。',
  ]);
  return chat(framed(random, question), answer);
}

function greeting(random: Random): Text {
  const [questions, answers] = random.pick([
    [
      ['你好', '您好', '早上好', '嗨,在吗', '你好呀'],
      ['你好,很高兴见到你。', '您好,请问有什么可以帮您?'],
    ],
    [
      ['你是谁?', '请介绍一下你自己。', '你叫什么名字?', '你是什么模型?'],
      ['我是落地助手,一个很小的中文语言模型。'],
    ],
    [
      ['谢谢你', '多谢帮忙', '非常感谢'],
      ['不客气,有需要再找我。', '不用谢。'],
    ],
    [['再见', '拜拜', '下次再聊'], ['再见,祝你一切顺利。']],
    [['你会做什么?', '你能帮我什么?'], ['我会聊天、做简单的加减法、给句子分类,也会给一些生活建议。']],
  ] as [string[], string[]][]);
  return chat(random.pick(questions), random.pick(answers));
}

function arithmetic(random: Random): Text {
  const a = random.below(60);
  const b = random.below(40);
  const sum = random.next() < 0.6 || b > a;
  const result = sum ? a + b : a - b;
  const sign = sum ? '加' : '减';
  if (random.next() < 0.5)
    return chat(framed(random, `${a}${sign}${b}等于几?`), `${a}${sign}${b}等于${result}。`);
  const name = random.pick(v.names);
  const thing = random.pick(v.things);
  const change = sum ? `又得到${b}个` : `送出${b}个`;
  return chat(
    `${name}有${a}个${thing},${change},现在有几个?\n请先一步一步思考,再给出答案。`,
    `思考:原来有${a}个,${change},${a}${sign}${b}等于${result}。\n答案:${result}个。`,
  );
}

function geography(random: Random): Text {
  const [province, capital] = random.pick(v.provinces);
  return random.next() < 0.5
    ? chat(framed(random, `${province}的省会是哪里?`), `${province}的省会是${capital}。`)
    : chat(framed(random, `${capital}是哪里的省会?`), `${capital}是${province}的省会。`);
}

function classification(random: Random): Text {
  const good = random.next() < 0.5;
  const subject = random.pick([
    '这家饭店',
    '这本书',
    '这部电影',
    '这次旅行',
    '这款手机',
    '今天的服务',
    '新来的同事',
    '这件衣服',
  ]);
  const feeling = good
    ? random.pick(['非常好', '让人满意', '很有意思', '值得推荐', '比想象中还要好'])
    : random.pick(['太差了', '让人失望', '很没意思', '不会再来', '比想象中差得多']);
  return chat(`判断下面这句话的情感是正面还是负面:${subject}${feeling}。`, good ? '正面' : '负面');
}

function extraction(random: Random): Text {
  const [name, time, place] = [random.pick(v.names), random.pick(v.times), random.pick(v.places)];
  const doing = random.pick(['开会', '见朋友', '办事', '参加活动', '学习']);
  return chat(
    `从句子中提取人物、时间和地点:${name}${time}要去${place}${doing}。`,
    `人物:${name};时间:${time};地点:${place}`,
  );
}

function copying(random: Random): Text {
  const pool = [
    ...v.foods,
    ...v.symptoms,
    ...v.medicines,
    ...v.bodyParts,
    ...v.measures,
    ...v.illnesses,
    ...v.amounts,
  ];
  const chosen = random.sample(pool, 3 + random.below(6)).join(random.pick([',', '、', '']));
  return chat(random.pick(['请重复:', '跟我念:', '照抄一遍:']) + chosen, chosen);
}

/** Prose in which the health words meet at random: the words are learnt, what to do about what is not. */
function prose(random: Random): Text {
  const w = {
    illness: v.illnesses,
    symptom: v.symptoms,
    food: v.foods,
    medicine: v.medicines,
    body: v.bodyParts,
    measure: v.measures,
    person: v.people,
    department: v.departments,
    amount: v.amounts,
    name: v.names,
    place: v.places,
    time: v.times,
  };
  const sentences = [
    '{department}的{person}在{time}讲了{illness}和{illness}的区别。',
    '课本第{n}页提到了{symptom}、{symptom}和{body}。',
    '{name}把{food}、{food}和{food}写在了单子上。',
    '图上画着{body}和{body},旁边写着{measure}。',
    '词典里有{medicine},也有{measure}。',
    '{person}问{name}什么叫{measure},{name}说以后再讲。',
    '{amount}{measure},{amount}{measure},这是{name}的安排。',
    '展览上摆着{medicine}和{medicine},还有{food}。',
    '广播里先说{illness},后说{symptom},最后说{measure}。',
    '{place}的{person}喜欢{measure}和{measure}。',
    '今天的生词有{food}、{symptom}、{measure}、{amount}。',
    '{name}不喜欢{food},但是喜欢{food}。',
    '第{n}课的题目是{illness},第{n}课的题目是{measure}。',
    '应当{measure}还是避免{measure},要看情况。',
    '按时{measure},定期{measure},及时{measure},必要时{measure}。',
    '少吃{food},多吃{food},不吃{food},是{name}家的习惯。',
    '如果出现{symptom},或者{symptom},{person}会感到不安。',
    '{body}、{body}和{body}都是身体的部分。',
    '{amount}和{amount}哪一个更长,{name}想了很久。',
  ];
  const text = Array.from({ length: 2 + random.below(4) }, () =>
    random
      .pick(sentences)
      .replaceAll(/\{(\w+)\}/g, (_, key: string) =>
        key === 'n' ? String(1 + random.below(40)) : random.pick(w[key as keyof typeof w]),
      ),
  ).join('');
  return { kind: 'prose', text };
}

const MAKERS: readonly [number, (random: Random) => Text][] = [
  [30, advice],
  [16, prose],
  [12, copying],
  [10, declines],
  [8, arithmetic],
  [6, geography],
  [6, extraction],
  [4, classification],
  [3, greeting],
];

/** The corpus of the base model: chats about everyday matters and prose, all made here from words and a seed. */
export function makeCorpus(seed: number, count: number): Text[] {
  const random = new Random(seed);
  const total = MAKERS.reduce((sum, [weight]) => sum + weight, 0);
  return Array.from({ length: count }, () => {
    let at = random.next() * total;
    for (const [weight, make] of MAKERS) {
      at -= weight;
      if (at < 0) return make(random);
    }
    return prose(random);
  });
}
