"""Rows of bench/families say which class they cover, and which option of the real models."""

from salon.bench.families import covered


def test_rows_say_class_and_option() -> None:
    assert covered.OPTIONS.keys() == covered.CLASSES.keys()
    assert covered.asked("flux", "fill: new pixels, 3 steps") == "FluxFillPipeline"
    assert covered.asked("flux2", "klein base: states, 28 characters") == "Qwen3ForCausalLM"
    assert covered.asked("unet", "sdxl, DPM++ 2M Karras: picture of a long prompt") == "StableDiffusionXLPipeline"
    assert covered.asked("flux", "something else") is None
    option = covered.option("qwen_edit", "Edit-Plus, references at 0: velocity beside 2 references")
    assert option is not None
    assert "zero_cond_t" in option
    assert covered.option("z_image", "velocity, 8 x 8 tokens") == covered.OPTIONS["z_image"][""]
    assert covered.option("flux", "velocity") is None
