import { create } from '@bufbuild/protobuf';
import { type ProfileSpec, ProfileSpecSchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';

/** A template of a radiology report. The notice makes every report wait for a person's signature. */
export const scanReport: ProfileSpec = create(ProfileSpecSchema, {
  language: 'zh',
  description: '医学影像报告模板:检查所见、印象、建议。仅为辅助,须由医师审核签字',
  product: '医学影像',
  prompt:
    '<image>\n你是放射科医师的助手。请根据影像起草报告:检查所见逐条描述看到的内容,印象概括结论,建议给出下一步检查。看不清的写明看不清,不要推测。',
  sections: [
    { id: 'findings', title: '检查所见', maxLines: 12 },
    { id: 'impression', title: '印象', maxLines: 4 },
    { id: 'recommendation', title: '建议', maxLines: 4 },
  ],
  notice: '本报告由模型起草,仅供辅助,不是诊断;须由具备资质的医师审核并签字后方可使用。',
  review: { always: true },
});
