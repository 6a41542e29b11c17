"""What could go wrong with a method on a model, and the tests that hold it: a table of docs/matrix.md."""

FAULTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "a video that was not made here cannot be inverted and edited",
        ("test_edit_files.py::test_a_video_of_another_maker_is_inverted",),
    ),
    (
        "windows of a model whose tokens hold two latent frames do not cover the sample",
        (
            "test_make_faults.py::test_a_story_of_cogvideox_fifteen_has_the_frames_of_its_windows",
            "test_matrix.py::test_every_cell_works_or_is_refused_before_any_work",
        ),
    ),
    (
        "layers are named by one family's network, and a method is refused on others for a reason that is not true",
        ("test_matrix.py::test_every_cell_works_or_is_refused_before_any_work",),
    ),
    (
        "the source of an edit is not the video in the file",
        (
            "test_edit_files.py::test_the_source_beside_an_edit_is_the_video_in_the_file",
            "test_doors.py::test_the_source_of_an_edit_is_the_video_in_the_file",
            "test_edit_files.py::test_the_source_of_a_story_is_what_it_is_alone",
        ),
    ),
    (
        "a solver that draws noise gives another video from the same seed",
        (
            "test_determinism.py::test_schedulers_that_draw_noise",
            "test_determinism.py::test_a_flow_solver_that_draws_noise",
        ),
    ),
    (
        "a scheduler is accepted and its arithmetic is wrong for the model",
        (
            "test_determinism.py::test_schedulers_that_would_be_wrong_are_refused",
            "test_schedulers.py::test_it_steps_as_diffusers_or_is_refused",
        ),
    ),
    (
        "what is not finite is written as a black video, or blamed on a setting",
        (
            "test_make_faults.py::test_what_is_not_finite_is_no_video",
            "test_fallbacks.py::test_a_nan_of_a_stage_s_network_is_no_black_video",
            "test_determinism.py::test_numbers_that_were_broken_before_are_not_blamed_on_the_scale",
            "test_determinism.py::test_what_divides_by_no_signal_is_refused",
        ),
    ),
    (
        "regions leave out the prompt and do not say so",
        (
            "test_long_layouts.py::test_the_surroundings_hear_the_prompt_of_their_scene",
            "test_regions.py::test_each_region_answers_to_its_own_words",
        ),
    ),
    (
        "a video depends on its place in the batch",
        ("test_determinism.py::test_a_video_is_the_same_second_in_a_batch_of_others",),
    ),
    (
        "a LoRA has another strength than in diffusers, or reaches one of two networks",
        ("test_lora_files.py::test_alpha_in_the_header", "test_lora_files.py::test_two_networks"),
    ),
    (
        "the name of a folder decides the settings of a method",
        (
            "test_model_identity.py::test_a_copy_of_mini_under_another_name_is_mini",
            "test_model_identity.py::test_modelscope_is_known_by_its_layout",
            "test_model_cards.py::test_every_known_model_is_carded_under_any_folder_name",
        ),
    ),
    (
        "the end of a prompt is cut",
        (
            "test_prompt_styles.py::test_styles_of_methods",
            "test_prompt_styles.py::test_the_text_encoded_is_the_text_recorded",
        ),
    ),
    (
        "the precision of the weights decides which noise is drawn",
        (
            "test_determinism.py::test_draws_do_not_hang_on_the_weights_precision",
            "test_determinism.py::test_the_draws_of_cogvideox_5b_do_not_hang_on_the_weights_precision",
        ),
    ),
    (
        "an energy of all words of a prompt mixes the prompts of a story",
        ("test_boxdiff.py::test_words_are_sharpened_over_their_own_prompt",),
    ),
    (
        "the grid of a layer is guessed from its number of cells, wrongly for some sizes",
        (
            "test_sizes.py::test_every_level_of_every_size_has_its_grid",
            "test_sizes.py::test_methods_that_read_the_mid_block_run",
        ),
    ),
    (
        "a finishing stage by a model that cannot do it ends in a traceback",
        ("test_finish_files.py::test_a_stage_by_the_wrong_model",),
    ),
    ("a stage that fails loses the render", ("test_make_faults.py::test_a_stage_that_fails_loses_no_render",)),
    (
        "a picture encodes to several latent frames, and regions expect one",
        ("test_matrix.py::test_every_cell_works_or_is_refused_before_any_work",),
    ),
    (
        "controls in an order, or for a batch, that cannot work end in a traceback",
        (
            "test_stacks.py::test_an_order_that_cannot_work_is_refused_before_any_work",
            "test_stacks.py::test_an_order_that_can_work_does_for_one_and_for_two",
        ),
    ),
    (
        "a model, a scheduler, a seed or a size of another kind ends in a traceback",
        (
            "test_model_identity.py::test_models_of_another_kind_are_named",
            "test_model_identity.py::test_schedulers_of_another_kind_are_named",
            "test_model_identity.py::test_seeds_out_of_range",
            "test_model_identity.py::test_cogvideox_beyond_its_positions",
        ),
    ),
    (
        "Stable Diffusion does not run with the scheduler of its own folder",
        ("test_pndm.py::test_it_is_the_pipeline_of_diffusers", "test_pndm.py::test_few_steps"),
    ),
    (
        "a method is refused only after objects were generated",
        ("test_matrix.py::test_a_mask_that_is_not_there_is_refused_before_any_work",),
    ),
    (
        "a small model is refused for a reason that is not true",
        ("test_matrix.py::test_every_cell_works_or_is_refused_before_any_work",),
    ),
    (
        "a long video is refused as a story where the method could show it",
        ("test_long_layouts.py::test_every_method_works_in_one_clip_a_long_one_and_a_story",),
    ),
    (
        "a message is endless, a map is empty, a clip ends early, and nothing says so",
        (
            "test_heat.py::test_no_layer_is_an_error",
            "test_make_faults.py::test_a_video_says_how_long_it_lasts_where_that_is_not_what_was_asked",
            "test_model_identity.py::test_loading_prints_nothing",
            "test_edit_files.py::test_no_frame_and_no_sound_is_lost_where_a_latent_frame_holds_four",
        ),
    ),
    (
        "a LoRA file of another program is not read",
        (
            "test_lora_files.py::test_kohya_names",
            "test_lora_files.py::test_names_of_the_training_scripts",
            "test_lora_files.py::test_names_of_wan",
            "test_lora_files.py::test_part_of_musubis_layers",
            "test_lora_files.py::test_files_of_diffusers_and_peft",
        ),
    ),
    (
        "a call from Python ends in a traceback, or what it needs is hidden",
        (
            "test_make_faults.py::test_the_python_api_names_what_is_wrong",
            "test_guide.py::test_the_api_reference_has_what_a_user_needs",
        ),
    ),
    (
        "a planner, a method or a model of another package has no name here",
        (
            "test_planners.py::test_a_planner_of_another_package_has_a_name",
            "test_methods.py::test_entry_points_give_a_method_or_a_list_of_controls",
        ),
    ),
    (
        "methods cannot be stacked, or a setting reaches another family's controls",
        (
            "test_long_layouts.py::test_a_setting_of_a_transformer_is_its_own",
            "test_stacks.py::test_a_stack_on_the_command_line",
        ),
    ),
    (
        "few steps, or a model without its layers, leave a control without effect, and nothing says so",
        (
            "test_matrix.py::test_too_few_steps_for_a_control_are_said",
            "test_matrix.py::test_a_model_without_the_layers_that_share_is_said",
        ),
    ),
    (
        "a finishing stage by a transformer fails while it runs, or by a model that cannot only after the render",
        (
            "test_finish_transformers.py::test_refine_samples_details_anew",
            "test_finish_transformers.py::test_extend_goes_on_from_the_last_frame",
            "test_finish_transformers.py::test_a_stage_by_a_model_that_cannot_is_refused_before_the_render",
        ),
    ),
    (
        "a loaded pipeline is no model, and Python gives neither pictures nor latents",
        (
            "test_pipelines.py::test_the_pipeline_and_the_backbone_make_the_same_latents",
            "test_python.py::test_frames_in_other_forms",
            "test_python.py::test_latents_in_are_the_first",
            "test_python.py::test_unknown_keywords_are_one_line",
        ),
    ),
    (
        "a method's own scheduler is refused as if it had been typed",
        ("test_matrix.py::test_a_scheduler_that_a_method_brings_is_refused_by_its_name",),
    ),
)
"""What could go wrong, in one line, and the tests (file::test) that fail where it does."""
