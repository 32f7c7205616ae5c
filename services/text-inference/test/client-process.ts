/** A client in a process of its own: opens one long generation and writes a line for each message. */

import { readFileSync } from 'node:fs';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

const [address = '', keyFile = ''] = process.argv.slice(2);
const identity = { subject: 'key:test', tenant: 'default', role: Role.EDITOR };
const channel = new RpcChannel(address, { signer: new IdentitySigner(readFileSync(keyFile)), identity });
const request = { prompt: 'a', sampling: { maxTokens: 120, ignoreEos: true } };
for await (const reply of channel.client(TextInferenceService).generate(request)) {
  process.stdout.write(`${reply.usage ? 'end' : 'message'}\n`);
}
channel.close();
