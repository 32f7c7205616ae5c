import { type DescMethod, type DescService, getOption } from '@bufbuild/protobuf';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';

/** Where calls of a service go. */
export type Destination = 'registry' | 'trainer' | 'balancer' | 'prompt' | 'vision' | 'replicas' | 'admin';

/** Everything that the gateway serves; what is not here does not exist for the outside. */
export const publicServices: readonly (readonly [DescService, Destination])[] = [
  [RegistryService, 'registry'],
  [TrainerService, 'trainer'],
  [BalancerService, 'balancer'],
  [PromptService, 'prompt'],
  [TextInferenceService, 'replicas'],
  [VisionInferenceService, 'vision'],
  [ReviewService, 'vision'],
  [AdminService, 'admin'],
];

/** Public methods by `package.Service/Method`. Those for services of the mesh alone are left out. */
export const publicMethods: ReadonlyMap<string, DescMethod> = new Map(
  publicServices
    .flatMap(([service]) => service.methods)
    .filter((method) => getOption(method, roleOption) !== Role.SERVICE)
    .map((method) => [`${method.parent.typeName}/${method.name}`, method]),
);
