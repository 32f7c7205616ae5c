import { create } from '@bufbuild/protobuf';
import { type ProfileSpec, ProfileSpecSchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';

/** A figure of a lesson, explained step by step. The notice makes every explanation wait for a teacher's signature. */
export const figureExplained: ProfileSpec = create(ProfileSpecSchema, {
  language: 'zh',
  description: '教学图解:分步讲解一幅图。仅为辅助,须由教师审核签字',
  product: '教学图示',
  prompt:
    '<image>\n你是一名耐心的老师。请为学生讲解这幅图:先说图中有什么,再分步讲解它说明的道理,最后概括要点,并出一道思考题。',
  sections: [
    { id: 'overview', title: '图中内容', maxLines: 1 },
    { id: 'steps', title: '分步讲解', maxLines: 12 },
    { id: 'key_points', title: '要点', maxLines: 5 },
    { id: 'question', title: '思考题', maxLines: 1 },
  ],
  notice: '本讲解由模型生成,仅供教学辅助;须由教师审核并签字后方可使用。',
  review: { always: true },
});
