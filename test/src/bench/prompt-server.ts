/** The prompt service in a process of its own: `prompt-server.ts with-log|without-log`; tells its address over IPC. */
import { readConfig } from '../../../services/prompt/src/config.ts';
import { InvocationLog } from '../../../services/prompt/src/domain/invocation-log.ts';
import { PromptService } from '../../../services/prompt/src/service.ts';

// What a stream would be like if there was no log at all: the other side of the comparison.
if (process.argv[2] === 'without-log') {
  InvocationLog.prototype.add = () => {};
}

const service = await PromptService.create(readConfig(process.env));
process.send!(await service.start());
process.once('SIGTERM', () => void service[Symbol.asyncDispose]().then(() => process.disconnect()));
