import { createInterface } from 'node:readline/promises';
import { type Command, numberOf, type Session, textOf } from '../command.ts';

interface Turn {
  role: string;
  content: string;
}

/** One answer, as it comes. */
async function answer(session: Session, model: string, messages: Turn[]): Promise<string> {
  const { values, clients, signal } = session;
  const sampling = {
    temperature: numberOf(values, 'temperature') ?? 0,
    maxTokens: numberOf(values, 'max-tokens') ?? 512,
  };
  let text = '';
  for await (const { delta } of clients.text.generate({ model, messages, sampling }, { signal })) {
    if (!session.json) process.stdout.write(delta);
    text += delta;
  }
  return text;
}

export const chatCommands: Record<string, Command> = {
  chat: {
    usage: 'chat MODEL [QUESTION]',
    summary:
      'Talks with a deployed model (a deployment or models:/name/version); without a question, turn by turn.',
    arguments: ['MODEL'],
    rest: true,
    options: {
      system: { type: 'string' },
      temperature: { type: 'string' },
      'max-tokens': { type: 'string' },
    },
    meaning: {
      system: 'what the model is told before',
      temperature: '0 (default) takes the most likely token',
      'max-tokens': 'longest answer (512)',
    },
    example: "chat chat '高血压患者日常饮食需要注意什么?'",
    async run(session) {
      const [model, ...words] = session.args as [string, ...string[]];
      const system = textOf(session.values, 'system');
      const messages: Turn[] = system ? [{ role: 'system', content: system }] : [];
      if (words.length > 0) {
        const text = await answer(session, model, [...messages, { role: 'user', content: words.join(' ') }]);
        session.line(session.json ? JSON.stringify({ text }) : '');
        return;
      }
      const lines = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ' });
      lines.prompt();
      for await (const line of lines) {
        if (line.trim() !== '') {
          messages.push({ role: 'user', content: line });
          const text = await answer(session, model, messages);
          messages.push({ role: 'assistant', content: text });
          session.line(session.json ? JSON.stringify({ text }) : '');
        }
        lines.prompt();
      }
    },
  },
};
