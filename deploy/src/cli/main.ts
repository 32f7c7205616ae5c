/** `npm run cli -- COMMAND`: the command line of the mesh. */
import { parseArgs } from 'node:util';
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { type CliClients, cliClients, unreachable } from './clients.ts';
import { type Command, Found, type Session, UsageError, type Values } from './command.ts';
import { commands } from './commands.ts';
import { commandHelp, help, nearest } from './help.ts';

/** 0 done, 1 failed, 2 called wrongly; `audit verify` tells its verdict by these. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  process.once('SIGINT', stop);
  try {
    await call(argv, env, abort.signal);
    return 0;
  } catch (error) {
    if (abort.signal.aborted) return 130;
    process.stderr.write(`${message(error)}\n`);
    if (error instanceof Found) return error.exitCode;
    return error instanceof UsageError ? 2 : 1;
  } finally {
    process.off('SIGINT', stop);
  }
}

async function call(argv: readonly string[], env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> {
  const words = argv.filter((word, i) => !word.startsWith('-') && i < 2);
  if (words.length === 0 || words[0] === 'help') {
    process.stdout.write(help(commands));
    return;
  }
  const name = [words.join(' '), words[0]!].find((one) => one in commands);
  if (!name) {
    const like = nearest(words.join(' '), Object.keys(commands));
    throw new UsageError(
      `there is no command '${words.join(' ')}'${like ? `; did you mean '${like}'?` : ''}`,
    );
  }
  const command = commands[name]!;
  const { values, positionals } = parse(command, argv.slice(name.split(' ').length));
  if (values.help) {
    process.stdout.write(commandHelp(command));
    return;
  }
  const missing = command.arguments[positionals.length];
  if (missing) throw new UsageError(`${missing} is missing: npm run cli -- ${command.usage}`);
  if (positionals.length > command.arguments.length && !command.rest)
    throw new UsageError(`'${positionals.at(-1)}' is one argument too many: npm run cli -- ${command.usage}`);
  const json = values.json === true;
  const line = (text: string) => void process.stdout.write(`${text}\n`);
  let clients: CliClients | undefined;
  const session: Session = {
    get clients() {
      clients ??= cliClients(env);
      return clients;
    },
    home: env.LANDFALL_HOME || '.landfall',
    args: positionals,
    values,
    json,
    signal,
    line,
    print<D extends DescMessage>(schema: D, value: MessageShape<D>, text: () => string) {
      line(json ? JSON.stringify(toJson(schema, value)) : text());
    },
  };
  await command.run(session);
}

function parse(command: Command, args: string[]): { values: Values; positionals: string[] } {
  const options = { ...command.options, json: { type: 'boolean' }, help: { type: 'boolean' } } as const;
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    return { values: values as Values, positionals };
  } catch (error) {
    const unknown = /^Unknown option '(-+[^']+)'/.exec((error as Error).message)?.[1];
    if (!unknown) throw new UsageError((error as Error).message);
    const like = nearest(unknown.replace(/^-+/, ''), Object.keys(options));
    throw new UsageError(`there is no option ${unknown}${like ? `; did you mean --${like}?` : ''}`);
  }
}

function message(error: unknown): string {
  if (!(error instanceof ConnectError)) return error instanceof Error ? error.message : String(error);
  if (error.code === Code.Unavailable && /ECONNREFUSED|ENOTFOUND|socket/.test(error.message))
    return unreachable;
  return `${Code[error.code]}: ${error.rawMessage}`;
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = await main(process.argv.slice(2), process.env);
}
