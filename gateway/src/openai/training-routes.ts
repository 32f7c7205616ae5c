import { LifeCycleService } from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { sendEmbeddings } from './embeddings.ts';
import { sendFileContent } from './file-content.ts';
import { listFiles } from './file-list.ts';
import { createFile, deleteFile, getFile } from './files.ts';
import { createFineTuning, fineTuningJob, listFineTuning } from './fine-tuning.ts';
import { readJson } from './http.ts';
import type { Route } from './route.ts';

const { createModel, listModels, getModel, downloadArtifact } = RegistryService.method;
const { deleteVersion } = LifeCycleService.method;
const { createJob, listJobs, getJob, cancelJob } = TrainerService.method;

const EMBEDDINGS: Route = {
  verb: 'POST',
  method: VisionInferenceService.method.embed,
  run: async (context, request, response, call, governed) => {
    const body = await readJson(request, context.config.maxMessageBytes);
    await sendEmbeddings(context, response, call, governed, body);
  },
};
const FILES: readonly Route[] = [
  { verb: 'POST', method: createModel, run: createFile },
  { verb: 'GET', method: listModels, run: listFiles },
];
const JOBS: readonly Route[] = [
  {
    verb: 'POST',
    method: createJob,
    run: async (context, request, response, call, governed) => {
      const body = await readJson(request, context.config.maxMessageBytes);
      await createFineTuning(context, response, call, governed, body);
    },
  },
  { verb: 'GET', method: listJobs, run: listFineTuning },
];
const FILE = /^\/v1\/files\/([^/]+?)(\/content)?$/;
const JOB = /^\/v1\/fine_tuning\/jobs\/([^/]+?)(?:\/(events|cancel))?$/;

/** What a path of embeddings, files and fine-tuning answers, by verb; nothing where it is none of them. */
export function trainingRoutes(path: string): readonly Route[] {
  if (path === '/v1/embeddings') return [EMBEDDINGS];
  if (path === '/v1/files') return FILES;
  if (path === '/v1/fine_tuning/jobs') return JOBS;
  const [, file, content] = FILE.exec(path) ?? [];
  if (file) {
    const by =
      (answer: typeof getFile): Route['run'] =>
      (context, _request, response, call, governed) =>
        answer(context, response, call, governed, file);
    if (content) return [{ verb: 'GET', method: downloadArtifact, run: by(sendFileContent) }];
    return [
      { verb: 'GET', method: getModel, run: by(getFile) },
      { verb: 'DELETE', method: deleteVersion, run: by(deleteFile) },
    ];
  }
  const [, id, what] = JOB.exec(path) ?? [];
  if (!id) return [];
  const run: Route['run'] = (context, _request, response, call, governed) =>
    fineTuningJob(context, response, call, governed, id, (what ?? 'job') as 'job' | 'events' | 'cancel');
  return what === 'cancel'
    ? [{ verb: 'POST', method: cancelJob, run }]
    : [{ verb: 'GET', method: getJob, run }];
}
