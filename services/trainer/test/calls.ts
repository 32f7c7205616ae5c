import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { File } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { Job } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TestMesh } from './mesh.ts';
import type { ServiceProcess } from './processes.ts';

/** The error of a call that is refused. @throws what is no refusal */
export async function failure(call: Promise<unknown>): Promise<LandfallError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof LandfallError)) throw error ?? new Error('the call did not fail');
  return error;
}

/** Follows a job to its end; `seen` gets each message, and the next is waited for once it is done with it. */
export async function follow(
  { trainer }: TestMesh,
  id: string,
  seen: (job: Job) => unknown = () => {},
): Promise<Job> {
  let last: Job | undefined;
  for await (const { job } of trainer.watchJob({ id })) {
    last = job!;
    await seen(last);
  }
  return last!;
}

/** Follows a job that is resumed: its worker is killed once it has come so far, and another one takes its place. */
export async function followKilled(
  mesh: TestMesh,
  id: string,
  { worker, step }: { worker: ServiceProcess; step: number },
): Promise<{ job: Job; worker: ServiceProcess }> {
  let now = worker;
  const job = await follow(mesh, id, async ({ progress }) => {
    if (now !== worker || progress!.step < step) return;
    await worker.kill();
    now = await mesh.startWorker();
  });
  if (now === worker) throw new Error(`the job ended before step ${step}`);
  return { job, worker: now };
}

/** Files of a model's newest version that is ready, with their digests. */
export async function filesOf({ registry }: TestMesh, name: string): Promise<File[]> {
  const { version } = await registry.getVersion({ name });
  return version!.manifest!.files;
}
